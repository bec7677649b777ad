"""Dated figures that others decide (CMS, X12, the MACs): what is in force on a day, and who says so."""
