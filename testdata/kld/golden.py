"""Computes expected.json: what the logits of two models say of each other, in float64. Usage: golden.py BASE MODEL TOKENS WINDOW"""
import json, sys
import torch, transformers

base_dir, model_dir, tokens, window = sys.argv[1], sys.argv[2], json.load(open(sys.argv[3])), int(sys.argv[4])
torch.set_num_threads(1)
windows = torch.tensor(tokens[: len(tokens) // window * window]).view(-1, window)
load = lambda d: transformers.AutoModelForCausalLM.from_pretrained(d, dtype=torch.float64).eval()
base, model = load(base_dir), load(model_dir)
kl, same, nll_base, nll, dp = [], [], [], [], []
with torch.no_grad():
    for w in windows.split(8):
        p = torch.log_softmax(base(w).logits[:, :-1], -1)
        q = torch.log_softmax(model(w).logits[:, :-1], -1)
        target = w[:, 1:, None]
        kl.append((p.exp() * (p - q)).sum(-1).flatten())
        same.append((p.argmax(-1) == q.argmax(-1)).double().flatten())
        lp, lq = p.gather(-1, target).flatten(), q.gather(-1, target).flatten()
        nll_base.append(-lp)
        nll.append(-lq)
        dp.append(lq.exp() - lp.exp())
kl, same, nll_base, nll, dp = map(torch.cat, (kl, same, nll_base, nll, dp))
n = len(kl)


def mean_error(x):
    return [x.mean().item(), (x.std(unbiased=True) / n**0.5).item()]


def quantiles(x):
    return {k: torch.quantile(x, q).item() for k, q in levels.items()}


levels = {"max": 1.0, "99.9": 0.999, "99": 0.99, "95": 0.95, "90": 0.9, "75": 0.75, "50": 0.5, "25": 0.25, "10": 0.1, "5": 0.05, "1": 0.01, "0.1": 0.001, "min": 0.0}
(mb, eb), (mm, em) = mean_error(nll_base), mean_error(nll)
ppl_base, ppl = torch.exp(nll_base.mean()).item(), torch.exp(nll.mean()).item()
diff, diff_error = mean_error(nll - nll_base)  # var(a−b) = var a + var b − 2 cov: llama.cpp's error
square, square_error = mean_error(dp * dp)
json.dump({
    "tokens": n, "kl": mean_error(kl), "kl_quantiles": quantiles(kl), "same_top": mean_error(same),
    "ppl": [ppl, ppl * em], "ppl_base": [ppl_base, ppl_base * eb],
    "ln_ratio": [diff, diff_error], "ratio": [ppl / ppl_base, ppl / ppl_base * diff_error],
    "correlation": torch.corrcoef(torch.stack([nll, nll_base]))[0, 1].item(),
    "delta_p": mean_error(dp), "delta_p_quantiles": quantiles(dp), "rms_delta_p": [square**0.5, square_error / (2 * square**0.5)],
    "versions": {"python": sys.version.split()[0], "torch": torch.__version__, "transformers": transformers.__version__},
}, sys.stdout, indent=1)
print()
