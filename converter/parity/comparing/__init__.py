"""What the two networks computed, held against each other: logits and every layer."""
