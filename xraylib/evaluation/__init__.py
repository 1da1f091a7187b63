"""Evidence: predictions -> metrics, tables and saliency maps."""
