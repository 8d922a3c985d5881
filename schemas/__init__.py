"""What every edge of fdi-health accepts and answers, as marshmallow schemas: plain dicts in, any object out."""
