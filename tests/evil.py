"""Hostile values, shared by the tests of every edge they can reach."""

from __future__ import annotations

SQL_PAYLOADS: tuple[bytes, ...] = tuple(
    text.encode()
    for text in (
        "'", "''", '"', '""', "`", "\\", "\\'", "';--", "' --", "'#", "'/*", "*/", ";", "%", "_",
        "' OR '1'='1", "' OR 1=1 --", '" OR ""="', "') OR ('1'='1", "' OR 'x'='x' /*",
        "'; DROP TABLE records; --", "'; DELETE FROM records; --", "1; UPDATE records SET passed=1",
        "' UNION SELECT 1,2,3,4,5 --", "' UNION ALL SELECT NULL,NULL,NULL,NULL,NULL --",
        "' AND 1=2 --", "' AND sleep(9) --", "'||(SELECT 1)||'", "' || load_extension('x') || '",
        "'; ATTACH DATABASE '/x' AS x; --", "'; PRAGMA user_version=9; --", "?", "?1", ":a", "@a",
        "$a", "%s", "%(a)s", "{0}", "{0.__class__}", "${jndi:ldap://x}", "x' COLLATE NOCASE --",
        "0x27", "char(39)", "\\x27", "\u2019", "\u02bc", "\uff07", "\u00a7", "\u00e9", "\u0130",
        "A'\nB", "A\r\nB", "A\tB", "NULL", "null", "NaN", "1e999", "-1", "18446744073709551616",
        "' GLOB '*", "' LIKE '%", "a@x' ON CONFLICT DO UPDATE SET passed=9 --",
    )
)  # fmt: skip
RAW_PAYLOADS: tuple[bytes, ...] = (
    b"\xbf'", b"\xbf\x27 OR 1=1", b"\xc0\xa7", b"\xff\xfe", b"\x80", b"\xed\xa0\x80",
    b"\xf0\x9f\x92\xa9",
    b"\x1b[2J", b"\x1b]0;x\x07", b"\x07", b"\x7f", b"\x9b31m", b"\r\n", b"\n", b"\r", b"a\nOK",
    b"a\nA\n", b"\nS=1", b"a\r\n250 ok", b"\xe2\x80\xae", b"\xe2\x80\xa8", b"\xe2\x80\x8b", b" ",
    b"  ", b"a b", b"=", b"a=b", b"\\", b"\\x41", b"\\#", b'"', b'"q s"', b"%n%n%n", b"%s%s",
    b"() { :;}; touch x", b"`id`", b"$(id)", b";|&", b"<script>alert(1)</script>", b"../../x",
    b"prvs==", b"prvs=" * 50, b"@" * 300, b"'" * 700, b'"' * 890, b"x" * 2000, b"\xff" * 900,
)  # fmt: skip
EVIL: tuple[bytes, ...] = SQL_PAYLOADS + RAW_PAYLOADS
