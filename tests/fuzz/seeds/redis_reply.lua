-- redis_reply.lua -- seeds of fuzz_redis_reply: two bytes for the pieces, then replies.

return {
  status = "\0\0+OK\r\n-ERR no\r\n:12\r\n", bulk = "\1\0$5\r\na\r\nbc\r\n$0\r\n\r\n$-1\r\n",
  array = "\7\1*3\r\n$8\r\nsmessage\r\n*2\r\n:1\r\n$-1\r\n+x\r\n*0\r\n*-1\r\n",
  info = "\0\0$42\r\nredis_version:7.0.15\r\nrun_id:0123456789abc\r\n",
  resp3 = "\0\0%1\r\n+a\r\n#t\r\n",
  deep = "\0\0" .. ("*1\r\n"):rep(10), large = "\0\0*100000\r\n", huge = "\0\0$99999999999\r\n",
  error = "\0\0-MOVED 1 a:1\r\n-NOPERM x\r\n", http = "\0\0HTTP/1.1 200 OK\r\n\r\n",
}
