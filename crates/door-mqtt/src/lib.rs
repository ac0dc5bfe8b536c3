//! door-mqtt.
