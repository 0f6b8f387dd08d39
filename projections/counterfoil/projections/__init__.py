"""Facts → read models. Nothing here decides anything."""
