"""Clock, fakes and conformance kits for authors of adapters and stores."""
