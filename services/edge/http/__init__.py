"""How HTTP requests come in and answers leave, whatever they are about."""
