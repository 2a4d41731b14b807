"""The equations of motion of gymnasium's classic environments, for many copies at once.

Every operation is gymnasium's own, in the same order and precision, so that every number is the
same to the last bit. CartPole is not among them: it has a native vector form.
"""
