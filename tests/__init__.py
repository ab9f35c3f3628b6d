import gc

# Most of what is imported and collected stays: to look through it as often as usual is a tenth of all the work.
gc.set_threshold(100_000, 20, 20)
