-- response.lua -- seeds of fuzz_response: the buffer's size, the status, names and values.

return {
  plain = "\80\40Content-Type|text/plain|X-Id|1|",
  framing = "\80\40Content-Length|5|Transfer-Encoding|chunked|Connection|keep-alive|Date|now|",
  line_end = "\80\40X-A|one\r\nX-B: two|X-C\r\n|three|",
  upgrade = "\80\0Upgrade|websocket|Sec-WebSocket-Accept|s3pPLMBiTxaQ9kYGzzhZRbK+xOo=|",
  small = "\4\40X-Long|" .. ("v"):rep(60) .. "|",
  empty = "\40\68|no name|X-Empty||",
}
