"""Tests of the peers' training script; skipped where PyTorch, transformers or PEFT is not installed."""

import tempfile
import unittest

try:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from engine import peer_training
except ImportError:
    torch = None

LENGTHS = [5, 9, 3, 6]


@unittest.skipIf(torch is None, "no PyTorch, transformers or PEFT here")
class Packing(unittest.TestCase):
    def test_a_pack_trains_like_its_pairs_one_by_one(self):
        torch.manual_seed(1)
        config = LlamaConfig(
            vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
        with tempfile.TemporaryDirectory() as folder:
            LlamaForCausalLM(config).save_pretrained(folder)
            model = peer_training.adapted(folder)
        for parameter in model.parameters():
            # PEFT's second matrix begins as zero, and nothing would reach the first.
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.1)
        pairs = [{"ids": [(7 * i + n) % 50 for i in range(n)], "mask": [0, 0] + [1] * (n - 2)} for n in LENGTHS]
        single = self.gradient(model, list(peer_training.batches_of(pairs, 1)))
        packs = list(peer_training.packs_of(pairs, 64))
        self.assertEqual(1, len(packs))
        padded = list(peer_training.batches_of(pairs, 4))
        for batches in (packs, padded):
            torch.testing.assert_close(self.gradient(model, batches), single, rtol=1e-4, atol=1e-6)

    def gradient(self, model, batches):
        """Of the loss summed over all trained tokens, flat."""
        model.zero_grad()
        for batch in batches:
            (peer_training.loss_of(model, batch, "f32") * batch[3].sum()).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])

    def test_packs_hold_what_fits(self):
        pairs = [{"ids": list(range(n)), "mask": [1] * n} for n in LENGTHS]
        packs = list(peer_training.packs_of(pairs, 14))
        self.assertEqual([14, 9], [ids.numel() for ids, *_ in packs])
        # The first token of a pair is predicted by nothing of its own.
        self.assertEqual([12, 7], [int(trained.sum()) for *_, trained in packs])


if __name__ == "__main__":
    unittest.main()
