//! door-http.
