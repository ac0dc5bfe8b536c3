//! mqtt-proto.
