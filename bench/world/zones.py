"""What the world's DNS says: names are collected here, and become zone files."""

from __future__ import annotations

from ipaddress import ip_address

ZONES = ("example", "example.org", "example.net", "example.com", "in-addr.arpa", "ip6.arpa")
MOST = 250  # bytes in one string of a TXT record


class Names:
    """Records, each once."""

    def __init__(self) -> None:
        self._records: dict[str, dict[str, None]] = {zone: {} for zone in ZONES}

    def add(self, name: str, kind: str, data: str) -> None:
        """Add a record."""
        zone = max((z for z in ZONES if name == z or name.endswith(f".{z}")), key=len)
        self._records[zone][f"{name}. {kind} {data}\n"] = None

    def host(self, name: str, address: str, *, confirmed: bool = True) -> None:
        """Give an address a name, which leads back to it or to nowhere."""
        self.add(ip_address(address).reverse_pointer, "PTR", f"{name}.")
        if confirmed:
            self.leads(name, address)

    def leads(self, name: str, address: str) -> None:
        """Let a name lead to an address."""
        self.add(name, "AAAA" if ":" in address else "A", address)

    def spf(self, domain: str, terms: str) -> None:
        """Publish an SPF record. A long one is cut into strings, as in the field."""
        text = f"v=spf1 {terms}"
        parts = [text[at : at + MOST] for at in range(0, len(text), MOST)]
        self.add(domain, "TXT", " ".join(f'"{part}"' for part in parts))

    def zones(self) -> dict[str, str]:
        """Return the records of each zone."""
        return {zone: "".join(records) for zone, records in self._records.items()}
