"""What a comparison is to do, settled before it starts: asked, checked, read and chosen."""
