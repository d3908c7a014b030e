-- redis_url.lua -- seeds of fuzz_redis_url: the URLs that people write for Redis. "\1" becomes a
-- secret word.

return {
  redis = "redis://host:6379/1", rediss = "rediss://u:\1@host?ssl_ca_certs=/a.pem",
  password = "redis://:\1@[::1]:6379", escaped = "redis://u%40:%2f\1@host/0",
  raw = "redis://u:\1/\1?\1=\1&db=2#\1@host", unix = "redis+unix:///run/a.sock?db=1&password=\1",
  bare = "unix:/a", valkey = "valkeys://host?socket_timeout=0.5&ssl_cert_reqs=none",
  option = "redis://host?unknown=1", user = "redis://\1@host", port = "redis://:\1@host:x",
}
