"""Neural network ops: softmax, norms, losses, embedding, dropout; most of them fused."""
