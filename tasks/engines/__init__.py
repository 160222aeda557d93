"""Inference engines: ways in which a network answers that is frozen, or finished.

``eager`` is the network itself, module by module. ``fused`` is its graph on oneDNN's fused operators. Which of them
answers is measured on the machine and remembered; an engine is used only where it agrees with the network.
"""
