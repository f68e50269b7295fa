"""What a visitor sees: the page, and the endpoints that `gradio_client` can call."""
