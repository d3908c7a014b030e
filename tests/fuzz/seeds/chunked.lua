-- chunked.lua -- seeds of fuzz_chunked: two bytes for the pieces, one for the limit, the body.

local FIRST = "\7\1\50"

return {
  empty = FIRST .. "0\r\n\r\n",
  one = FIRST .. "5\r\nhello\r\n0\r\n\r\n",
  several = FIRST .. "1\r\na\r\n2\r\nbc\r\n0003\r\ndef\r\n0\r\n\r\n",
  upper = FIRST .. "1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n",
  extension = FIRST .. '3;name=value;other="quoted text"\r\nabc\r\n0;last\r\n\r\n',
  trailer = FIRST .. "3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Other: two words\r\n\r\n",
  ahead = FIRST .. "2\r\nhi\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
  too_big = "\1\0\1" .. "ff\r\n",
}
