"""PPL: one network rewrites photos so that some hash-based searches do not find the originals with the copies."""

from pathlib import Path

from PIL import Image

import hamguard as hg

photos = Path("photos")
photos.mkdir(exist_ok=True)
for number, image in enumerate(hg.data("digits").query.first(3).images):
    Image.fromarray((image[0] * 255).round().byte().numpy()).save(photos / f"{number}.png")

protected = hg.protect(photos, "protected", eps="8/255")
for line in protected.lines:
    print(line)
