-- lua_request.lua -- seeds of fuzz_lua_request: a target, a line end, header lines.

return {
  query = "/a%20b?x=1&y=two+words&z&x=%C3%A4\nHost: x\r\nCookie: a=1; b=\"2\"\r\n",
  absolute = "http://example.org/p?q\nAccept: text/html, */*;q=0.1\r\nAccept: a ,, b\r\n",
  origin = "/?\nOrigin: HTTPS://Example.org:443\r\nX: http://[::1]:8080\r\n",
  broken = "/%zz%4?&&=&a==b\nX-Empty:\r\nX-Blank:  \t \r\nY: \t,\t\r\n",
  asterisk = "*\n",
  line = "X-Name: value",
}
