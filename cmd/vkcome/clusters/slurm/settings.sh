# What the scripts beside this file go by. Copy it, change the copy, and start: ./submit.sh MY-SETTINGS.sh --partition=gpu --time=4:00:00
# All nodes must see the model, the text, OUT and WORK under the same names.

MODEL=/models/Llama-2-7b-hf                 # a folder, a GGUF file, or a name of the hub that is in the cache of all nodes
OUT=/scratch/$USER/Llama-2-7b-24            # the model to write
WORK=$OUT.parts                             # a folder for what lies between; it may be removed when OUT is there
VKCOME=vkcome                               # the program

LAYERS=24
CORPUS=(--text c4 --samples 256 --seed 1)   # to score and to fit
LESSONS=(--text c4 --seed 1)                # to heal, with flags of training

SHARDS=8                                    # tasks that score, and tasks that fit: as many of these as can run at the same time
HEALERS=8                                   # tasks that heal: at most as many as there are merged layers, here 32 - 24
WAIT=2h                                     # how long a task of the fit waits for the others
