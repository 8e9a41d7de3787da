"""The REST API: one router per resource, all on `dash_app.data.Data`. What a request may do is checked by the guard."""
