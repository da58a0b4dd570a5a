"""Writes, for images of every form that can be made here, a name, how near the pixels must be, the file, and
the size and pixels of what Pillow makes of it as upright RGB: python3 formats.py > FILE.

What Pillow cannot save is put together from bytes; what it should not be followed in has pixels worked out here."""
import io, itertools, struct, sys, zlib
from PIL import Image, ImageOps

SIZES = ((37, 22), (16, 8), (1, 1), (3, 50))


def picture(mode, w, h):
    i = Image.new("RGB", (w, h))
    i.putdata([((x * 7 + y * 3) % 256, (x * x // 5 + y) % 256, (255 - x + y * 5) % 256) for y in range(h) for x in range(w)])
    ramp = Image.linear_gradient("L").resize((w, h))
    if mode in ("RGBA", "LA"):
        i = i.convert(mode)
        i.putalpha(ramp)
        return i
    if mode == "I;16":
        wide = Image.new("I;16", (w, h))
        wide.putdata([(x * 997 + y * 1201) % 65536 for y in range(h) for x in range(w)])
        return wide
    if mode in ("I", "F"):
        wide = Image.new(mode, (w, h))
        wide.putdata([x * 11 - 40 + y * 3 + (0.6 if mode == "F" else 0) for y in range(h) for x in range(w)])
        return wide
    return i.convert(mode)


def emit(name, text, want, near="exact"):
    sys.stdout.buffer.write(struct.pack("<I", len(name)) + name.encode() + struct.pack("<I", len(near)) + near.encode())
    sys.stdout.buffer.write(struct.pack("<I", len(text)) + text + struct.pack("<2I", want.size[1], want.size[0]) + want.tobytes())


def read(text):
    return ImageOps.exif_transpose(Image.open(io.BytesIO(text))).convert("RGB")


def encode(image, **how):
    text = io.BytesIO()
    image.save(text, **how)
    return text.getvalue()


def save(name, image, want=None, near="exact", **how):
    text = encode(image, **how)
    emit(name, text, want or read(text), near)


def high(image):
    "The high bytes of an image of 16 bits."
    return Image.frombytes("L", image.size, bytes(v >> 8 for v in image.getdata())).convert("RGB")


def exif(orientation):
    e = Image.Exif()
    e[0x0112] = orientation
    return e


def bits_of(values, n):
    "Values of n bits, the first one highest; the last byte is filled up."
    text = "".join(format(v, f"0{n}b") for v in values)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


# JPEG ---------------------------------------------------------------------------------------------------------
for w, h in SIZES:
    for mode, sampling, progressive in itertools.product(("RGB", "L", "CMYK"), (0, 1, 2), (False, True)):
        if mode == "RGB" or sampling == 0:
            save(f"jpeg {mode} {sampling} {progressive} {w}x{h}", picture(mode, w, h), near="jpeg", format="JPEG", quality=90, subsampling=sampling, progressive=progressive)
    save(f"jpeg stored as RGB {w}x{h}", picture("RGB", w, h), near="jpeg", format="JPEG", quality=90, keep_rgb=True)
    save(f"jpeg restarts {w}x{h}", picture("RGB", w, h), near="jpeg", format="JPEG", quality=90, restart_marker_blocks=1)
    save(f"jpeg profile and comment {w}x{h}", picture("RGB", w, h), near="jpeg", format="JPEG", quality=90, icc_profile=b"x" * 200, comment=b"a comment")


def without_adobe(text):
    at = text.index(b"\xff\xee")
    return text[:at] + text[at + 2 + struct.unpack(">H", text[at + 2 : at + 4])[0] :]


text = without_adobe(encode(picture("CMYK", 37, 22), format="JPEG", quality=90))
emit("jpeg CMYK without Adobe", text, read(text), "jpeg")
text = encode(picture("CMYK", 37, 22), format="JPEG", quality=90)
at = text.index(b"Adobe")
emit("jpeg YCCK", text[: at + 11] + b"\2" + text[at + 12 :], read(text[: at + 11] + b"\2" + text[at + 12 :]), "jpeg")

# PNG ----------------------------------------------------------------------------------------------------------
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(w, h, bits, colour, samples, interlaced, extra=b""):
    "A PNG of samples [y][x][channel]."
    rows = b""
    for x0, y0, dx, dy in PASSES if interlaced else ((0, 0, 1, 1),):
        for y in range(y0, h, dy):
            row = [v for x in range(x0, w, dx) for v in samples[y][x]]
            if row:
                rows += b"\0" + bits_of(row, bits)
    head = struct.pack(">2I5B", w, h, bits, colour, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


KINDS = {0: (1, (1, 2, 4, 8, 16)), 2: (3, (8, 16)), 3: (1, (1, 2, 4, 8)), 4: (2, (8, 16)), 6: (4, (8, 16))}
CHUNKS = {"": b"", "gamma": chunk(b"gAMA", struct.pack(">I", 45455)), "profile": chunk(b"iCCP", b"p\0\0" + zlib.compress(b"profile")),
          "animated": chunk(b"acTL", struct.pack(">2I", 1, 0)) + chunk(b"fcTL", struct.pack(">5I2H2B", 0, 37, 22, 0, 0, 1, 1, 0, 0))}
for (colour, (channels, depths)), (w, h) in itertools.product(KINDS.items(), ((37, 22), (1, 1), (3, 5))):
    for bits, interlaced, clear, more in itertools.product(depths, (False, True), (False, True), CHUNKS):
        if more and (interlaced or clear or w != 37):
            continue
        n = 1 << bits
        samples = [[[(x * (7 + c) * (n // 256 + 1) + y * (3 + c) + c * 40) % n for c in range(channels)] for x in range(w)] for y in range(h)]
        extra = CHUNKS[more]
        if colour == 3:
            extra += chunk(b"PLTE", b"".join(bytes([i * 37 % 256, 255 - i * 11 % 256, i * 5 % 256]) for i in range(n)))
        if clear and colour == 3:
            extra += chunk(b"tRNS", bytes(range(0, min(n, 200))))
        elif clear and channels in (1, 3):
            extra += chunk(b"tRNS", b"".join(struct.pack(">H", v) for v in samples[0][0]))
        elif clear:
            continue
        text = png(w, h, bits, colour, samples, interlaced, extra)
        want = read(text)
        if bits == 16 and colour in (0, 4): # Pillow cuts grey at 255
            want = Image.frombytes("L", (w, h), bytes(p[0] >> 8 for row in samples for p in row)).convert("RGB")
        emit(f"png {colour} {bits} bits, interlaced {interlaced}, clear {clear} {more} {w}x{h}", text, want)

# WebP ---------------------------------------------------------------------------------------------------------
for w, h in SIZES + ((64, 64), (17, 33)):
    for mode, quality, lossless in itertools.product(("RGB", "RGBA", "L"), (20, 80, 100), (False, True)):
        save(f"webp {mode} {quality} {lossless} {w}x{h}", picture(mode, w, h), format="WEBP", quality=quality, lossless=lossless, exact=True)
    save(f"webp RGBA not exact {w}x{h}", picture("RGBA", w, h), format="WEBP", quality=80)
    save(f"webp with profile {w}x{h}", picture("RGB", w, h), format="WEBP", quality=80, icc_profile=b"x" * 99)
    for lossless, kind in itertools.product((False, True), ("RGB", "RGBA")):
        frames = [picture(kind, w, h), picture(kind, w, h).transpose(0)]
        save(f"webp animated {lossless} {kind} {w}x{h}", frames[0], format="WEBP", save_all=True, append_images=frames[1:], lossless=lossless, quality=70)
for c in (0, 0, 0), (255, 255, 255), (128, 128, 128), (255, 0, 0), (0, 255, 0), (0, 0, 255), (224, 172, 105):
    save(f"webp flat {c}", Image.new("RGB", (64, 64), c), format="WEBP", quality=95)


def part(frame, canvas, x, y):
    "An animated WebP whose only frame is a part of the canvas."
    body = frame[12:]
    if body[:4] == b"VP8X":
        body = body[18:]
    u24 = lambda v: struct.pack("<I", v)[:3]
    w, h = Image.open(io.BytesIO(frame)).size
    anmf = u24(x // 2) + u24(y // 2) + u24(w - 1) + u24(h - 1) + u24(100) + b"\0" + body
    riff = lambda name, data: name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    text = b"WEBP" + riff(b"VP8X", b"\x12\0\0\0" + u24(canvas[0] - 1) + u24(canvas[1] - 1)) + riff(b"ANIM", b"\xff\xff\xff\xff\0\0") + riff(b"ANMF", anmf)
    return riff(b"RIFF", text)


for lossless, mode in itertools.product((False, True), ("RGB", "RGBA")):
    text = part(encode(picture(mode, 21, 13), format="WEBP", lossless=lossless, exact=True), (40, 30), 6, 10)
    emit(f"webp part of a canvas {lossless} {mode}", text, read(text))

# GIF ----------------------------------------------------------------------------------------------------------
for w, h in SIZES:
    for mode, interlace in itertools.product(("RGB", "L", "P", "1", "RGBA"), (0, 1)):
        save(f"gif {mode} {interlace} {w}x{h}", picture(mode, w, h), format="GIF", interlace=interlace)
    frames = [picture("P", w, h), picture("L", w, h).convert("P")]
    save(f"gif of two frames {w}x{h}", frames[0], format="GIF", save_all=True, append_images=frames[1:], transparency=3)


def gif(background, clear, left, top, local):
    "A frame of two pixels in a picture of 4 by 3."
    text = b"GIF89a" + struct.pack("<HHBBB", 4, 3, 0x81, background, 0) + bytes([10, 20, 30, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    if clear is not None:
        text += b"\x21\xf9\x04\x01\0\0" + bytes([clear]) + b"\0"
    text += b"," + struct.pack("<HHHHB", left, top, 2, 1, 0x81 if local else 0)
    if local:
        text += bytes([7, 8, 9, 70, 80, 90, 17, 18, 19, 170, 180, 190])
    codes = int("".join(format(c, "03b") for c in (5, 3, 1, 4)), 2).to_bytes(2, "little")
    return text + bytes([2, len(codes)]) + codes + b"\0;"


for background, clear in ((0, None), (2, None), (2, 3), (0, 1)):
    text = gif(background, clear, 1, 2, False)
    emit(f"gif part {background} {clear}", text, read(text))

# BMP ----------------------------------------------------------------------------------------------------------
for w, h in SIZES:
    for mode in ("RGB", "L", "P", "1", "RGBA"):
        save(f"bmp {mode} {w}x{h}", picture(mode, w, h), format="BMP")


def bmp(w, h, bits, pixels, coding=0, top_down=False, palette=b"", masks=b"", info=40):
    if info == 12:
        head = struct.pack("<I4H", 12, w, h, 1, bits)
    else:
        head = struct.pack("<IiiHHIIiiII", info, w, -h if top_down else h, 1, bits, coding, len(pixels), 2835, 2835, len(palette) // 4, 0)
        head += masks if info > 40 else b""
        head += b"\0" * (info - len(head))
        head += masks if info == 40 else b""
    at = 14 + len(head) + len(palette)
    return struct.pack("<2sIHHI", b"BM", at + len(pixels), 0, 0, at) + head + palette + pixels


def lines(w, h, bits, value):
    return b"".join((lambda r: r + b"\0" * (-len(r) % 4))(bits_of([value(x, y) for x in range(w)], bits)) for y in range(h))


def words(w, h, size, value):
    return b"".join((lambda r: r + b"\0" * (-len(r) % 4))(b"".join(value(x, y).to_bytes(size, "little") for x in range(w))) for y in range(h))


for (w, h), top_down in itertools.product(((37, 22), (1, 1), (6, 3)), (False, True)):
    for bits, info in itertools.product((1, 4, 8), (12, 40, 108, 124)):
        if info == 12 and top_down:
            continue
        colours = [(i * 37 % 256, 255 - i * 11 % 256, i * 5 % 256) for i in range(1 << bits)]
        palette = b"".join(bytes(c) + (b"\0" if info > 12 else b"") for c in colours)
        text = bmp(w, h, bits, lines(w, h, bits, lambda x, y: (x * 3 + y) % (1 << bits)), 0, top_down, palette, info=info)
        emit(f"bmp {bits} bits, header {info}, top down {top_down} {w}x{h}", text, read(text))
    every = lambda size: lambda x, y: (x * 2654435761 + y * 40503 + x * y * 77) % (1 << 8 * size)
    for bits, masks, info in ((16, b"", 40), (16, struct.pack("<3I", 0x7C00, 0x3E0, 0x1F), 40), (16, struct.pack("<3I", 0xF800, 0x7E0, 0x1F), 40),
                              (16, struct.pack("<4I", 0xF800, 0x7E0, 0x1F, 0), 108), (24, b"", 40), (32, b"", 40), (32, b"", 124),
                              (32, struct.pack("<3I", 0xFF0000, 0xFF00, 0xFF), 40), (32, struct.pack("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000), 108),
                              (32, struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000), 124)):
        text = bmp(w, h, bits, words(w, h, bits // 8, every(bits // 8)), 3 if masks else 0, top_down, masks=masks, info=info)
        emit(f"bmp {bits} bits, masks {masks.hex()}, header {info}, top down {top_down} {w}x{h}", text, read(text))
palette = b"".join(bytes([i * 37 % 256, 255 - i * 11 % 256, i * 5 % 256, 0]) for i in range(256))
runs8 = b"\5\7\0\3\1\2\3\0\0\0" + b"\2\2\0\0" + b"\3\x09\0\0" + b"\x08\x0b\0\0\0\1"
text = bmp(8, 4, 8, runs8, 1, palette=palette)
emit("bmp runs of 8 bits", text, read(text))
skipping = b"\5\7\0\3\1\2\3\0\0\0" + b"\0\2\2\1" + b"\3\x09\0\0" + b"\x08\x0b\0\0\0\1"  # Pillow reads two bytes too many here
indices = [11] * 8 + [0, 0, 9, 9, 9, 0, 0, 0] + [0] * 8 + [7] * 5 + [1, 2, 3]
want = Image.new("RGB", (8, 4))
want.putdata([tuple(palette[4 * i : 4 * i + 3][::-1]) for i in indices])
emit("bmp runs with pixels passed over", bmp(8, 4, 8, skipping, 1, palette=palette), want)
runs4 = b"\5\x12\0\4\x34\x56\0\0" + b"\x08\x9a\0\0" + b"\3\xbc\0\0" + b"\x09\x1f\0\1"
text = bmp(9, 4, 4, runs4, 2, palette=palette[:64])
emit("bmp runs of 4 bits", text, read(text))

# PNM ----------------------------------------------------------------------------------------------------------
for w, h in SIZES:
    for mode in ("RGB", "L", "1", "F"):
        save(f"pnm {mode} {w}x{h}", picture(mode, w, h), format="PPM")
    save(f"pnm 16 bits {w}x{h}", picture("I;16", w, h), high(picture("I;16", w, h)), format="PPM")
for name, text in {
    "plain bits": b"P1\n# a comment\n5 2\n1 0 1 1 0\n01011\n", "plain grey": b"P2 3 2 15 0 1 2\n# more\n13 14 15", "plain colours": b"P3\n2 1\n255\n1 2 3 40 50 60\n",
    "few levels": b"P5 4 1 100\n" + bytes([0, 1, 50, 100]), "colours of few levels": b"P6 2 1 31\n" + bytes([0, 1, 2, 15, 30, 31]),
    "colours of 16 bits": b"P6 2 1 65535\n" + struct.pack(">6H", 0, 255, 256, 30000, 65000, 65535), "big-endian fractions": b"Pf\n2 2\n1.0\n" + struct.pack(">4f", -3, 0.5, 77.9, 300),
}.items():
    emit(f"pnm {name}", text, read(text))

# TIFF ---------------------------------------------------------------------------------------------------------
for w, h in SIZES:
    for mode, compression in itertools.product(("RGB", "L", "RGBA", "LA", "P", "1", "CMYK", "I;16", "I", "F"), ("raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "zstd", "jpeg")):
        if compression == "jpeg" and mode not in ("RGB", "L", "CMYK"):
            continue
        try:
            image = picture(mode, w, h)
            text = encode(image, format="TIFF", compression=compression)
            want = high(image) if mode == "I;16" else read(text)
        except OSError:
            continue  # this Pillow has no such compression
        emit(f"tiff {mode} {compression} {w}x{h}", text, want, "jpeg" if compression == "jpeg" else "exact")
    for compression, polarity, options in itertools.product(("group3", "group4", "tiff_ccitt", "raw", "packbits", "tiff_lzw"), (0, 1), (0, 1, 4, 5)):
        if options and compression != "group3":
            continue
        for order in (1, 2):
            info = {262: polarity, 266: order} | ({292: options} if options else {})
            text = encode(picture("1", w, h), format="TIFF", compression=compression, tiffinfo=info)
            want = picture("1", w, h).convert("RGB")
            if order == 2:
                want = read(text)
            emit(f"tiff fax {compression} polarity {polarity} options {options} fill {order} {w}x{h}", text, want)
    for predictor, mode, compression in itertools.product((1, 2), ("RGB", "L", "RGBA", "I;16", "CMYK"), ("tiff_lzw", "tiff_adobe_deflate")):
        image = picture(mode, w, h)
        text = encode(image, format="TIFF", compression=compression, tiffinfo={317: predictor})
        emit(f"tiff predictor {predictor} {mode} {compression} {w}x{h}", text, high(image) if mode == "I;16" else read(text))
    text = encode(picture("F", w, h), format="TIFF", compression="tiff_adobe_deflate", tiffinfo={317: 3})
    emit(f"tiff predictor of fractions {w}x{h}", text, read(text))
    text = encode(picture("RGB", w, h), format="TIFF", big_tiff=True)
    emit(f"tiff big {w}x{h}", text, read(text))
    text = encode(picture("RGB", w, h), format="TIFF", save_all=True, append_images=[picture("L", 9, 9)])
    emit(f"tiff of two pages {w}x{h}", text, read(text))
    for quality, rows in itertools.product((30, 95), (8, 16)):
        for mode in ("RGB", "YCbCr"):
            text = encode(picture("RGB", w, h).convert(mode), format="TIFF", compression="jpeg", quality=quality, tiffinfo={278: rows})
            emit(f"tiff jpeg {mode} {quality} in strips of {rows} rows {w}x{h}", text, read(text), "jpeg")
    text = encode(picture("RGB", w, h), format="TIFF", compression="tiff_lzw", tiffinfo={278: 7})
    emit(f"tiff lzw in strips {w}x{h}", text, read(text))


def tiff(e, w, h, photometric, bits, samples, channels, planar=1, tile=None, rows=None, compression=1, predictor=1, more={}):
    "A TIFF of samples [y][x][channel], in strips or tiles, of little (<) or big (>) endian."
    n = 1 << bits

    def packed(values):
        return bits_of(values, bits) if bits < 16 else b"".join(struct.pack(e + {16: "H", 32: "I"}[bits], v) for v in values)

    def block(x0, y0, bw, bh, planes):
        text = b""
        for y in range(y0, y0 + bh):
            cell = lambda x, c: samples[y][x][c] if y < h and x < w else 0
            text += packed([(cell(x, c) - (cell(x - 1, c) if predictor == 2 and x > x0 else 0)) % n for x in range(x0, x0 + bw) for c in planes])
        return zlib.compress(text) if compression == 8 else text

    bw, bh = tile or (w, rows or h)
    blocks = [block(x, y, bw, bh if tile else min(bh, h - y), planes)
              for planes in ([[c] for c in range(channels)] if planar == 2 else [range(channels)]) for y in range(0, h, bh) for x in range(0, w, bw)]
    tags = {256: [w], 257: [h], 258: [bits] * channels, 259: [compression], 262: [photometric], 277: [channels], 284: [planar]} | more
    if predictor != 1:
        tags[317] = [predictor]
    if tile:
        tags |= {322: [bw], 323: [bh], 324: [0] * len(blocks), 325: [len(b) for b in blocks]}
    else:
        tags |= {278: [bh], 273: [0] * len(blocks), 279: [len(b) for b in blocks]}
    at = 8 + 2 + 12 * len(tags) + 4
    extra, places = b"", {}
    for tag, values in tags.items():
        if len(values) > 1:
            places[tag] = at + len(extra)
            extra += b"\0" * (4 * len(values))
    at += len(extra)
    offsets = []
    for b in blocks:
        offsets.append(at)
        at += len(b)
    tags[324 if tile else 273] = offsets
    head = struct.pack(e + "2sHIH", b"II" if e == "<" else b"MM", 42, 8, len(tags))
    extra = b""
    for tag in sorted(tags):
        values = tags[tag]
        head += struct.pack(e + "HHI", tag, 4, len(values))
        head += struct.pack(e + "I", places[tag]) if len(values) > 1 else struct.pack(e + "I", values[0])
    for tag, values in tags.items():
        if len(values) > 1:
            extra += struct.pack(e + f"{len(values)}I", *values)
    return head + struct.pack("I", 0) + extra + b"".join(blocks)


def cells(w, h, bits, channels):
    n = 1 << bits
    return [[[(x * (7 + c) * (n // 256 + 1) + y * (3 + c) + c * 40) % n for c in range(channels)] for x in range(w)] for y in range(h)]


LAYOUTS = [dict(), dict(rows=5), dict(tile=(16, 16)), dict(rows=5, compression=8), dict(tile=(16, 32), compression=8, predictor=2)]
for e, (w, h), how in itertools.product("<>", ((37, 22), (5, 3)), LAYOUTS):
    for photometric, bits, channels, more in ((0, 1, 1, {}), (1, 1, 1, {}), (0, 2, 1, {}), (1, 2, 1, {}), (0, 4, 1, {}), (1, 4, 1, {}), (0, 8, 1, {}), (1, 8, 1, {}), (1, 8, 2, {338: [2]}),
                                              (2, 8, 3, {}), (2, 8, 4, {338: [0]}), (2, 8, 4, {338: [1]}), (2, 8, 4, {338: [2]}), (2, 8, 4, {}), (2, 8, 5, {338: [2, 0]}),
                                              (2, 16, 3, {}), (2, 16, 4, {338: [2]}), (2, 16, 4, {338: [1]}), (5, 8, 4, {}), (5, 16, 4, {}), (1, 16, 1, {}), (0, 16, 1, {}),
                                              (3, 1, 1, {}), (3, 2, 1, {}), (3, 4, 1, {}), (3, 8, 1, {}), (3, 8, 2, {338: [2]}), (1, 32, 1, {339: [2]}), (1, 16, 1, {339: [2]})):
        if how.get("predictor") == 2 and bits < 8:
            continue
        for planar in (1, 2) if channels > 1 and photometric != 3 else (1,):
            samples = cells(w, h, bits, channels)
            if photometric == 3:
                more = more | {320: [v * 257 for c in range(3) for v in [(i * (37 + c * 50) + c * 9) % 256 for i in range(1 << bits)]]}
            text = tiff(e, w, h, photometric, bits, samples, channels, planar=planar, more=more, **how)
            name = f"tiff {e} photometric {photometric} {bits} bits x {channels} {sorted(more)} planar {planar} {how} {w}x{h}"
            if bits == 16 and channels == 1 and 339 not in more:
                grey = [p[0] >> 8 for row in samples for p in row]
                want = Image.frombytes("L", (w, h), bytes(255 - v if photometric == 0 else v for v in grey)).convert("RGB")
                emit(name, text, want)
                continue
            try:
                want = read(text)
            except (OSError, SyntaxError, ValueError):
                # What Pillow does not read: from the same samples in a form that it does.
                want = read(tiff(e, w, h, photometric, bits, samples, channels, planar=1, more=more))
            if planar == 2 or 339 in more and "compression" in how: # where Pillow mistakes planes, or the order of bytes
                want = read(tiff(e, w, h, photometric, bits, samples, channels, more=more))
            emit(name, text, want)

# Orientations -------------------------------------------------------------------------------------------------
for orientation in range(1, 9):
    for form in ("JPEG", "PNG", "WEBP", "TIFF"):
        how = {"lossless": True} if form == "WEBP" else {"quality": 95} if form == "JPEG" else {}
        save(f"{form} turned {orientation}", picture("RGB", 33, 20), near="jpeg" if form == "JPEG" else "exact", format=form, exif=exif(orientation), **how)
        if form == "WEBP":
            save(f"lossy {form} turned {orientation}", picture("RGB", 33, 20), format=form, exif=exif(orientation), quality=80)

# What is known but not decoded --------------------------------------------------------------------------------
for form in ("AVIF", "JPEG2000", "ICO"):
    try:
        text = encode(picture("RGB", 32, 32), format=form)
    except (KeyError, OSError):
        continue
    emit(form, text, read(text), "not decoded")
