"""Commands of make and of cog; no module or notebook imports them."""
