-- fuzz_server.lua -- the app of fuzz_server.c: an endpoint for each way of the bytes, with tiny
-- limits. Its functions raise no errors, so each line of the log at the level error is a fault.

local tw = require "tidewire"

-- A client may send binary messages to an endpoint of text, where an answer must be UTF-8.
local function text_of(message) return utf8.len(message) and message or "bytes" end

local function echo(conn, message) conn:send(message) end
local function echo_text(conn, message) conn:send(text_of(message)) end

return {
  limits = {
    header_bytes = 1024, receive_backlog = "64K", upload_backlog = "1M", response_backlog = "1M",
    half_closed_seconds = 1,
  },
  trusted_proxies = { "unix" },
  defaults = {
    ping_period = 1, max_message_size = 200, max_fragments = 4, max_backlog = 2000, origins = "*",
  },
  endpoints = {
    ["/echo"] = { compression = { threshold = 1, level = 1 }, handle_message = echo_text },
    ["/binary"] = { codec = "binary", handle_message = echo },
    ["/json"] = {
      codec = "json", compression = { threshold = 8, context = true }, handle_message = echo,
    },
    ["/custom"] = {
      codec = {
        decode = function(text) return utf8.len(text) and text ~= "" and text or nil end,
        encode = function(value) return tostring(value), "text" end,
      },
      handle_message = echo,
    },
    ["/heartbeat"] = {
      codec = "json", heartbeat = "json", handle_message = function(conn) conn:send({ n = 1 }) end,
    },
    ["/room/:name"] = {
      slow_client = "conflate", compression = { threshold = 20 },
      rate = { messages = 20, per = 0.001, action = "pause" },
      on_start = function(conn)
        conn:join(conn.params.name)
        local hello = conn.request.query.hello or conn.request.headers["user-agent"] or "hello"
        conn:send(text_of(hello))
      end,
      handle_message = function(conn, message)
        if #message % 7 == 6 then conn:leave(conn.params.name) end
        tw.room(conn.params.name):broadcast(text_of(message))
      end,
      on_close = function(conn, code, reason)
        tw.room(conn.params.name):broadcast(("%s %s"):format(code, reason):rep(3))
      end,
    },
    ["/sleep"] = {
      handle_message = function(conn, message)
        tw.sleep(0.001)
        conn:send(text_of(message))
      end,
    },
    ["/close"] = {
      subprotocols = { "chat", "json" },
      validate = function(request)
        for _, subprotocol in ipairs(request.subprotocols) do
          if subprotocol == "no" then return false, 403, "not you" end
        end
        return request.cookies.refuse == nil, 4003, "refused"
      end,
      handle_message = function(conn, message) conn:close(3000 + #message, "as you say") end,
    },
  },
  http = {
    ["GET /hello"] = function() return "hello" end,
    ["POST /body"] = function(request)
      return { body = request.body and #request.body, path = request.path, query = request.query }
    end,
    ["/any/*"] = function(request)
      return 200, request.params["*"], { ["X-Method"] = request.method, ["X-Count"] = 1 }
    end,
    ["/later"] = function()
      tw.sleep(0.001)
      return ("later "):rep(100)
    end,
    ["/files"] = { static = "corpus/json" },
  },
}
