"""Images: a folder of films -> an index table and decoded pixels."""
