"""From a wire or a stream to stored calls: sources of packets, and the import of what the splitter hands on."""
