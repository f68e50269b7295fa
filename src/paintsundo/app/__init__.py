"""The page: upload a picture, look at how it was drawn, steer it (`python -m paintsundo.app`)."""
