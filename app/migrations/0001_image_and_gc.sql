-- Every statement here must be harmless when run twice: DDL commits by itself, so a server that dies
-- half-way leaves its first statements behind, and the next one runs the file again. Only ever add:
-- old and new servers run side by side while a group is rolled.

CREATE TABLE IF NOT EXISTS image (
    id      BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    -- Binary collation: `Cat`, `cat` and `cát` are three pictures.
    name    VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    okey    VARCHAR(64)  CHARACTER SET ascii   COLLATE ascii_bin   NOT NULL,
    tkey    VARCHAR(64)  CHARACTER SET ascii   COLLATE ascii_bin   NULL,
    ctype   VARCHAR(32)  CHARACTER SET ascii   COLLATE ascii_bin   NOT NULL,
    bytes   BIGINT UNSIGNED NOT NULL,
    w       INT UNSIGNED NOT NULL,
    h       INT UNSIGNED NOT NULL,
    sha256  BINARY(32) NOT NULL,
    created DATETIME(3) NOT NULL,
    updated DATETIME(3) NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY image_name (name),
    UNIQUE KEY image_okey (okey)
) ENGINE = InnoDB;

-- Intent log and outbox in one: a key stands here before its object is written, and again from the
-- moment no row names it any more. The thumbnail's key follows from it, so it needs no row of its own.
CREATE TABLE IF NOT EXISTS gc (
    okey       VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    not_before DATETIME(3) NOT NULL,
    tries      INT UNSIGNED NOT NULL DEFAULT 0,
    PRIMARY KEY (okey),
    KEY gc_due (not_before)
) ENGINE = InnoDB;
