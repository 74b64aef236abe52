"""Training a converted network on, on a folder of pictures: `scripts/finetune DIR --from out.pth`.

settings → data → loop (Lightning Fabric) → OUT/best.pth, last.ckpt, history.json, pictures. Needs
the extra `train`.
"""
