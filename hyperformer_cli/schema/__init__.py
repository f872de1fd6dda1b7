"""What people write down, before it means anything: mappings of known keys, YAML that remembers its lines, errors."""
