"""From packets of any source to spools: small captures of a call each, split off as the packets come."""
