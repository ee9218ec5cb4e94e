"""ONVIF devices: finding them, asking them, and what runs while their cameras do. The messages are in gateway.onvif."""
