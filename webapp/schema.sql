-- Money is in integer cents, times are Unix seconds.

CREATE TABLE product (
    sku         TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    summary     TEXT NOT NULL,
    description TEXT NOT NULL,
    price       INTEGER NOT NULL CHECK (price > 0),
    stock       INTEGER NOT NULL CHECK (stock >= 0)
);

CREATE TABLE flash_sale (
    sku   TEXT PRIMARY KEY REFERENCES product (sku),
    price INTEGER NOT NULL CHECK (price > 0),
    stock INTEGER NOT NULL CHECK (stock >= 0)
);

CREATE TABLE orders (
    id         INTEGER PRIMARY KEY,
    number     TEXT NOT NULL UNIQUE,
    once       TEXT UNIQUE,
    user       TEXT,
    note       TEXT NOT NULL,
    flash      INTEGER NOT NULL CHECK (flash IN (0, 1)),
    subtotal   INTEGER NOT NULL CHECK (subtotal >= 0),
    total      INTEGER NOT NULL CHECK (total BETWEEN 0 AND subtotal),
    created_at INTEGER NOT NULL
);

CREATE TABLE order_line (
    order_id   INTEGER NOT NULL REFERENCES orders (id),
    position   INTEGER NOT NULL,
    sku        TEXT NOT NULL REFERENCES product (sku),
    name       TEXT NOT NULL,
    unit_price INTEGER NOT NULL CHECK (unit_price >= 0),
    quantity   INTEGER NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_id, position)
);

CREATE TABLE order_discount (
    order_id INTEGER NOT NULL REFERENCES orders (id),
    position INTEGER NOT NULL,
    label    TEXT NOT NULL,
    amount   INTEGER NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (order_id, position)
);

INSERT INTO product (sku, name, summary, description, price, stock) VALUES
('mug-stone', 'Stoneware mug', 'Thrown by hand, holds 320 ml',
 'A heavy mug with a thumb rest and a glaze that shows the clay. Safe in the dishwasher, and in the microwave too.',
 1450, 120),
('tea-sencha', 'Sencha green tea', 'First harvest, 100 g',
 'Steamed, needle-shaped leaves from a single garden. Brew at 70 °C for one minute; the second cup is the best one.',
 1190, 80),
('coffee-sidamo', 'Sidamo coffee beans', 'Washed, medium roast, 250 g',
 'Bergamot, apricot and a long finish. Roasted on Mondays and sent the same week, as whole beans.',
 1390, 64),
('filter-paper', 'Paper filters', 'Cone size 2, pack of 100',
 'Unbleached paper of even thickness that leaves no taste. Fits every cone dripper of size 2.',
 490, 400),
('kettle-swan', 'Swan-neck kettle', 'Steel, 900 ml, for every stove',
 'A slow and steady pour, a handle that stays cool, and a lid that stays on. The kettle for people who weigh their water.',
 6900, 25),
('grinder-hand', 'Hand grinder', 'Steel burrs, 30 g hopper',
 'Two bearings hold the shaft so that the grind stays even, from espresso to French press. Thirty turns to a cup.',
 8900, 3),
('teapot-iron', 'Cast-iron teapot', 'Enamelled inside, 800 ml',
 'Keeps tea warm for an hour without a candle. Comes with a fine steel strainer; serves four, or one long afternoon.',
 5400, 18),
('honey-heather', 'Heather honey', 'Raw, 350 g',
 'Dark, thick and a little bitter, from hives that stand on the moor in August. Sold out until the next harvest.',
 890, 0);

INSERT INTO flash_sale (sku, price, stock) VALUES
('kettle-swan', 3450, 20),
('teapot-iron', 2900, 5);

PRAGMA user_version = 1;
