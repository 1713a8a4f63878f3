-- As every file here: harmless when run twice, and only adding. Older servers that run beside know nothing of it, and need not.

-- What a deleted picture was, for as long as its objects stay: a restored one is as it was. It goes with its row of `gc`,
-- whoever takes that.
CREATE TABLE IF NOT EXISTS deleted_image (
    okey    VARCHAR(64)  CHARACTER SET ascii   COLLATE ascii_bin   NOT NULL,
    id      BIGINT UNSIGNED NOT NULL,
    name    VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    tkey    VARCHAR(64)  CHARACTER SET ascii   COLLATE ascii_bin   NULL,
    ctype   VARCHAR(32)  CHARACTER SET ascii   COLLATE ascii_bin   NOT NULL,
    bytes   BIGINT UNSIGNED NOT NULL,
    w       INT UNSIGNED NOT NULL,
    h       INT UNSIGNED NOT NULL,
    sha256  BINARY(32) NOT NULL,
    created DATETIME(3) NOT NULL,
    updated DATETIME(3) NOT NULL,
    PRIMARY KEY (okey),
    KEY deleted_image_name (name),
    CONSTRAINT deleted_image_gc FOREIGN KEY (okey) REFERENCES gc (okey) ON DELETE CASCADE
) ENGINE = InnoDB;

-- Names as people sort and look for them, without case and accents. MySQL has no ADD COLUMN IF NOT EXISTS.
SET @add_folded = IF(
    (SELECT COUNT(*) FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name = 'image' AND column_name = 'folded') = 0,
    'ALTER TABLE image ADD COLUMN folded VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci GENERATED ALWAYS AS (name) VIRTUAL, ADD KEY image_folded (folded, id)',
    'DO 0');
PREPARE add_folded FROM @add_folded;
EXECUTE add_folded;
DEALLOCATE PREPARE add_folded;
