"""A made-up place: the island at latitude 0, longitude 0, where bad coordinates end up.

Draws it as tiles of the usual kind (Web Mercator, 256 pixels, `z/x/y`) and knows its addresses.
Plans are in metres from the middle, x to the east and y to the south; so close to the equator a
metre is a metre in every direction.
"""

import functools
import math
import re

ROUND_THE_EARTH = 40_075_016.686
SMALLEST_ZOOM, LARGEST_ZOOM = 13, 17
HALF_WIDTH, HALF_HEIGHT = 2600, 1750
BLOCK_WIDTH, BLOCK_HEIGHT = 300, 250
# How far apart the points of a street are, and the houses along it.
STEP, HOUSE = 50, 15

ROWS = ["Cipher Street", "Naught Row", "Fathom Street", "Compass Lane", "Equator Avenue",
        "Float Street", "Sextant Street", "Lantern Row", "Ebb Street"]
COLUMNS = ["Gull Lane", "Mizzen Street", "Halyard Street", "Kelp Lane", "Chart Street",
           "Meridian Road", "Anchor Street", "Tide Street", "Beacon Lane", "Harbour Street",
           "Spindrift Lane"]
MAIN = {"Equator Avenue", "Meridian Road", "Shore Road"}
SHORE = "Shore Road"
# Blocks that are green, as column and row from the middle.
PARKS = {(-1, -1): "Origin Park", (-2, -1): "", (2, 1): "Buoy Green", (-4, 2): "Plumb Field"}

PALETTES = {
    "light": {
        "water": "#b9d6e2", "shallow": "#cbe2ea", "sand": "#f1e5c8", "land": "#e9eddc",
        "wood": "#d3e0bf", "town": "#efece4", "park": "#c9dfb4", "building": "#dcd5c8",
        "edge": "#c9c0b0", "casing": "#d8d1c3", "road": "#ffffff", "main_casing": "#dfb871",
        "main": "#ffe2a6", "text": "#45443f", "halo": "#ffffff", "sea_text": "#3f7690",
        "green_text": "#41683a",
    },
    "dark": {
        "water": "#0f2330", "shallow": "#14303f", "sand": "#353024", "land": "#1f2a26",
        "wood": "#21342a", "town": "#242a2e", "park": "#264034", "building": "#323a40",
        "edge": "#3e474e", "casing": "#171c20", "road": "#434c53", "main_casing": "#2a2418",
        "main": "#7a6136", "text": "#d3d9dc", "halo": "#171c20", "sea_text": "#7db3cc",
        "green_text": "#9cc79a",
    },
}


def shore(angle):
    """How far the coast is in a direction, as a share of the island's half width and height."""
    bay = 0.42 * math.exp(-(((angle - 1.05) / 0.2) ** 2))
    waves = 0.09 * math.cos(2 * angle + 0.6) + 0.06 * math.cos(3 * angle - 1)
    return 1 + waves + 0.03 * math.cos(5 * angle + 2) + 0.015 * math.cos(11 * angle) - bay


def on_land(x, y, share=1.0):
    angle = math.atan2(y / HALF_HEIGHT, x / HALF_WIDTH)
    return math.hypot(x / HALF_WIDTH, y / HALF_HEIGHT) < share * shore(angle)


def coast(share):
    for step in range(-150, 150):
        angle = step * math.pi / 150
        far = share * shore(angle)
        yield far * HALF_WIDTH * math.cos(angle), far * HALF_HEIGHT * math.sin(angle)


def bend(x, y):
    """Streets that follow the ground and not the ruler."""
    return (x + 45 * math.sin(y / 420) + 0.03 * y, y + 38 * math.sin(x / 560 + 0.5) - 0.04 * x)


@functools.cache
def streets():
    """Every street with its points."""
    lines = {}
    for number, name in enumerate(ROWS):
        y = (number - len(ROWS) // 2) * BLOCK_HEIGHT
        lines[name] = [bend(x, y) for x in range(-2600, 2601, STEP)]
    for number, name in enumerate(COLUMNS):
        x = (number - len(COLUMNS) // 2) * BLOCK_WIDTH
        lines[name] = [bend(x, y) for y in range(-1900, 1901, STEP)]
    inland = {name: longest_on_land(points) for name, points in lines.items()}
    ring = list(coast(0.86))
    inland[SHORE] = [*ring, ring[0]]
    return inland


def longest_on_land(points):
    best, run = [], []
    for point in points:
        run = [*run, point] if on_land(*point, 0.86) else []
        best = max(best, run, key=len)
    return best


@functools.cache
def buildings():
    """Corners of every house. What looks like chance is the same each time."""
    found = []
    for column in range(-5, 5):
        for row in range(-4, 4):
            if (column, row) in PARKS:
                continue
            for lot in range(24):
                across, down = lot % 6, lot // 6
                chance = (column * 7919 + row * 104729 + lot * 1299709) % 97 / 97
                # The yard in the middle of a block stays free.
                if down in (1, 2) and 0 < across < 5 or chance < 0.14:
                    continue
                x = column * BLOCK_WIDTH + 24 + across * 43
                y = row * BLOCK_HEIGHT + 22 + down * 54
                wide, high = 26 + 13 * chance, 34 + 13 * (1 - chance)
                corners = [(x, y), (x + wide, y), (x + wide, y + high), (x, y + high)]
                bent = [bend(*corner) for corner in corners]
                if all(on_land(*corner, 0.82) for corner in bent):
                    found.append(bent)
    return found


def place(x, y):
    """Latitude and longitude of a point of the plan."""
    degrees = 360 / ROUND_THE_EARTH
    return {"lat": round(-y * degrees, 6), "lng": round(x * degrees, 6)}


def along(points, metres):
    """The point that far down a street."""
    before = min(metres // STEP, len(points) - 2)
    share = metres / STEP - before
    (x, y), (to_x, to_y) = points[before], points[before + 1]
    return x + share * (to_x - x), y + share * (to_y - y)


def find(text):
    """The addresses that are meant."""
    match = re.fullmatch(r"\s*(\d{1,4})?\s*([^,]*?)\s*(?:,.*)?", text)
    number, wanted = (match[1], match[2].casefold()) if match else (None, text.casefold())
    if len(wanted) < 3:
        return []
    results = []
    for name, points in streets().items():
        if not points or wanted not in name.casefold():
            continue
        last = max(1, (len(points) - 1) * STEP // HOUSE)
        if number is not None and not 1 <= int(number) <= last:
            continue
        house = int(number) if number else last // 2
        x, y = along(points, house * HOUSE)
        address = f"{house} {name}" if number else name
        results.append({"address": f"{address}, Port Null", **place(x, y)})
    return results


def tile(zoom, column, row, style):
    """One tile as SVG, or nothing where there is none."""
    side = 1 << zoom
    if not SMALLEST_ZOOM <= zoom <= LARGEST_ZOOM or not (0 <= column < side and 0 <= row < side):
        return None
    metres = ROUND_THE_EARTH / side
    return Drawing(zoom, column * metres - ROUND_THE_EARTH / 2,
                   row * metres - ROUND_THE_EARTH / 2, metres, PALETTES[style]).svg()


class Drawing:
    """A square of the plan. Widths and sizes of type are in pixels, whatever the zoom."""

    def __init__(self, zoom, left, top, metres, palette):
        self.zoom, self.left, self.top, self.metres = zoom, left, top, metres
        self.palette, self.pixel = palette, metres / 256
        self.parts, self.paths = [], 0

    def svg(self):
        self.sea()
        self.ground()
        self.houses()
        self.roads()
        self.names()
        box = f"{self.left:.2f} {self.top:.2f} {self.metres:.2f} {self.metres:.2f}"
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="256" height="256" '
                f'viewBox="{box}" font-family="system-ui, sans-serif">'
                + "".join(self.parts) + "</svg>")

    def sea(self):
        self.parts.append(
            f'<rect x="{self.left:.2f}" y="{self.top:.2f}" width="{self.metres:.2f}" '
            f'height="{self.metres:.2f}" fill="{self.palette["water"]}"/>')
        self.area(coast(1.11), "shallow")
        ferry = [(900 + 30 * step, 900 + 22 * step + 3 * step * step / 4) for step in range(80)]
        self.line(ferry, "sea_text", 1.5, f' stroke-dasharray="{5 * self.pixel:.2f}"')

    def ground(self):
        self.area(coast(1.0), "sand")
        self.area(coast(0.965), "land")
        self.area(coast(0.84), "town")
        self.area(self.round_blob(-1950, -230, 300, 520), "wood")
        self.area(self.round_blob(1900, -420, 270, 260), "wood")
        self.area(self.round_blob(560, -1240, 420, 130), "wood")
        for (column, row), _ in PARKS.items():
            left, top = column * BLOCK_WIDTH + 10, row * BLOCK_HEIGHT + 10
            wide, high = BLOCK_WIDTH - 20, BLOCK_HEIGHT - 20
            corners = [(left, top), (left + wide, top), (left + wide, top + high),
                       (left, top + high)]
            self.area([bend(*corner) for corner in corners], "park")
        self.area(self.round_blob(-160, -120, 52, 34), "shallow")

    def houses(self):
        if self.zoom < 15:
            return
        edge = f' stroke="{self.palette["edge"]}" stroke-width="{0.7 * self.pixel:.2f}"'
        for corners in buildings():
            self.area(corners, "building", edge)

    def roads(self):
        wide = {13: 1.6, 14: 2.6, 15: 5, 16: 9, 17: 15}[self.zoom]
        # All edges first, so that crossings are open.
        for layer, extra in (("casing", 2), ("road", 0)):
            for name, points in streets().items():
                if name not in MAIN:
                    self.line(points, layer, wide + extra)
        for layer, extra in (("main_casing", 2), ("main", 0)):
            for name in sorted(MAIN):
                self.line(streets()[name], layer, wide * 1.45 + extra)

    def names(self):
        if self.zoom >= 15:
            for name, points in streets().items():
                self.name_along(name, points)
        if self.zoom <= 14:
            self.name_at("Port Null", 0, -60, 17, "text", 650)
            self.name_at("Null Island", 0, -590, 12, "text", 450)
        for (column, row), name in PARKS.items():
            x, y = bend((column + 0.5) * BLOCK_WIDTH, (row + 0.5) * BLOCK_HEIGHT)
            if name and self.zoom >= 15:
                self.name_at(name, x, y + 40, 11.5, "green_text", 500)
        self.name_at("Gulf of Guinea", -2700, 1800, 14, "sea_text", 400, ' font-style="italic"')
        self.name_at("Buoy Bay", 1010, 1330, 13, "sea_text", 400, ' font-style="italic"')

    def round_blob(self, x, y, wide, high):
        for step in range(40):
            angle = step * math.pi / 20
            far = 1 + 0.12 * math.cos(3 * angle + x) + 0.06 * math.cos(5 * angle + y)
            yield x + far * wide * math.cos(angle), y + far * high * math.sin(angle)

    def is_near(self, points, margin=0):
        margin = margin * self.pixel
        xs, ys = [point[0] for point in points], [point[1] for point in points]
        return (max(xs) > self.left - margin and min(xs) < self.left + self.metres + margin
                and max(ys) > self.top - margin and min(ys) < self.top + self.metres + margin)

    def path(self, points):
        places = 1 if self.zoom > 15 else 0
        return " ".join(f"{x:.{places}f},{y:.{places}f}" for x, y in points)

    def area(self, points, colour, rest=""):
        points = list(points)
        if self.is_near(points, 2):
            self.parts.append(
                f'<polygon points="{self.path(points)}" fill="{self.palette[colour]}"{rest}/>')

    def line(self, points, colour, wide, rest=""):
        if len(points) > 1 and self.is_near(points, wide):
            self.parts.append(
                f'<polyline points="{self.path(points)}" fill="none" stroke="{self.palette[colour]}" '
                f'stroke-width="{wide * self.pixel:.2f}" stroke-linejoin="round" '
                f'stroke-linecap="round"{rest}/>')

    def name_along(self, name, points):
        if len(points) < 2 or not self.is_near(points, 20):
            return
        self.paths += 1
        size = (11 if self.zoom < 17 else 13) * self.pixel
        self.parts.append(f'<path id="p{self.paths}" d="M{self.path(points)}" fill="none"/>')
        # The same place in every tile that shows it, however the tiles are cut.
        long = (len(points) - 1) * STEP
        apart = 420 * self.pixel
        at = apart / 2.6
        while at < long - 60 * self.pixel:
            self.parts.append(
                f'<text font-size="{size:.2f}" dy="{size * 0.34:.2f}" font-weight="500" '
                f'{self.ink("text")}><textPath href="#p{self.paths}" startOffset="{at:.1f}" '
                f'text-anchor="middle">{name}</textPath></text>')
            at += apart

    def name_at(self, name, x, y, size, colour, weight, rest=""):
        half = len(name) * size * 0.4 * self.pixel
        if self.is_near([(x - half, y - size * self.pixel), (x + half, y + size * self.pixel)]):
            self.parts.append(
                f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" font-weight="{weight}" '
                f'font-size="{size * self.pixel:.2f}" {self.ink(colour)}{rest}>{name}</text>')

    def ink(self, colour):
        return (f'fill="{self.palette[colour]}" paint-order="stroke" stroke-linejoin="round" '
                f'stroke="{self.palette["halo"]}" stroke-opacity="0.85" '
                f'stroke-width="{2.6 * self.pixel:.2f}"')
