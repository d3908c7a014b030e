-- deflate_offer.lua -- seeds of fuzz_deflate_offer: whether contexts are kept, the header's value.

return {
  plain = "\3permessage-deflate",
  chromium = "\0permessage-deflate; client_max_window_bits",
  all = "\1permessage-deflate; client_max_window_bits=10; server_max_window_bits=9;"
    .. " server_no_context_takeover; client_no_context_takeover",
  quoted = '\3permessage-deflate; server_max_window_bits="8"',
  several = "\3foo; bar=1, permessage-deflate; server_max_window_bits=16, permessage-deflate",
  twice = "\3permessage-deflate; client_max_window_bits; client_max_window_bits=8",
  malformed = "\3permessage-deflate;; =, ;",
}
