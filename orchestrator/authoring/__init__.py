"""For authors of plugins: new projects, and what an installed plugin says about itself."""
