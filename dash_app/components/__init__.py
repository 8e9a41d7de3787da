"""Small reusable parts of pages: how a value, a state, an absence or an error looks. No data access, no callbacks."""
