"""MQTT: cameras and events at a broker, as Home Assistant discovers them."""
