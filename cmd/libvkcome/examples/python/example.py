"""A program that embeds vkcome: it prunes a model with progress, cancels another run, generates text, and goes on after a model that is cut off
and a device that is lost.

    make lib
    VKCOME_LIBRARY=bin/libvkcome.so PYTHONPATH=cmd/libvkcome/examples/python \\
        python3 cmd/libvkcome/examples/python/example.py embedded:tiny12 testdata/golden/calib_tokens.json FOLDER [BROKEN]
"""

import pathlib
import sys
import threading

import vkcome


def main(name: str, tokens: str, folder: str, broken: str = "") -> None:
    print("vkcome", vkcome.version(), "on", vkcome.devices()[0]["name"])
    request = {"target_layers": 8, "method": "come", "corpus": {"token_file": tokens, "window": 128}}
    out = pathlib.Path(folder, "pruned")
    device = vkcome.Device()
    with vkcome.Model(name) as model:
        print("model of", model.inspect()["layers"], "layers")
        if broken:
            try:
                vkcome.Model(broken)
            except vkcome.BadModel as error:
                print("a truncated model:", error)
        events: list = []
        try:
            lineage = vkcome.prune(device, model, progress=events.append, out=str(out), **request)
        except vkcome.DeviceLost as error:  # open it anew, and go on with what was done
            print("lost:", error)
            device.close()
            device = vkcome.Device()
            lineage = vkcome.prune(device, model, progress=events.append, out=str(out), resume=True, **request)
        print("pruned to", len(lineage["tree"]), "layers, with", "progress" if len(events) > 10 else "too little progress")

        with vkcome.Cancel() as cancel:
            begun = threading.Event()
            threading.Thread(target=lambda: (begun.wait(), cancel.cancel()), daemon=True).start()
            try:
                vkcome.prune(device, model, progress=lambda _: begun.set(), cancel=cancel, out=str(pathlib.Path(folder, "cancelled")), **request)
            except vkcome.Cancelled as error:
                print("a cancelled run:", error)

    with device, vkcome.Model(str(out)) as pruned, vkcome.Generator(device, pruned, max_tokens=12) as generator:
        pieces: list = []
        text = generator.generate("The film is", on_text=pieces.append)["text"]
        print("generated:", text, "in", len(pieces), "pieces", "that are the text" if "".join(pieces) == text else "that are another text")
        try:
            device.close()
        except vkcome.Busy as error:
            print("a device in use:", error)
    print("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
