"""Options from flags and files to the parts that own them. Its modules import no PyTorch."""
