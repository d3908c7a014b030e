-- connect_client.lua -- tw.connect as a client of a server of another make, for connect_spec.lua,
-- which starts it as an app.
--
-- A message {"url":…,"cannot":…,"authority":…} runs all tests against the server at that URL, but
-- for those that its library cannot have; `authority` is the file of the one that has signed the
-- server's certificate. The answer is "ok", or what was not as a user of tw.connect expects.
-- servers.py says what the server does.

local tw = require "tidewire"

local PLANES = "a\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{1f30a}\u{10ffff}"

local tests = {}
local authority -- the file, for wss

local function check_equal(expected, actual, what)
  if expected ~= actual then
    error(("%s: expected %s, got %s"):format(what, tw.inspect(expected):sub(1, 200),
      tw.inspect(actual):sub(1, 200)), 2)
  end
end

local function connect(url, options)
  options = options or {}
  options.tls = authority and { ca = authority } or nil
  local client, problem = tw.connect(url, options)
  return client or error(problem, 2)
end

local function ask(client, value, kind)
  check_equal(true, client:send(value, kind), "send")
  local answer, answer_kind = client:receive(60)
  if answer == nil then error("no answer: " .. tostring(answer_kind), 2) end
  return answer, answer_kind
end

-- Waits for the close, which must be this one.
local function check_closed(client, code, reason)
  local message, why, actual_code, actual_reason = client:receive(60)
  check_equal(nil, message, "message after the close")
  check_equal("closed", why, "why")
  check_equal(code, actual_code, "code")
  check_equal(reason, actual_reason or "", "reason")
  local sent, problem = client:send("more")
  check_equal(nil, sent, "send after the close")
  check_equal("closed", problem, "send after the close")
end

function tests.messages_of_every_size(url)
  local client = connect(url, { max_message_size = 1 << 21, max_backlog = 1 << 22 })
  for _, size in ipairs { 0, 1, 125, 126, 127, 1000, 65535, 65536, 300000, 1 << 20 } do
    local text = ("ü"):rep(size // 2) .. ("x"):rep(size % 2)
    local answer, kind = ask(client, text)
    check_equal("text", kind, "kind of " .. size)
    check_equal(true, answer == text, "text of " .. size)
    local bytes = ("\0\xff\x80ab"):rep(size // 5 + 1):sub(1, size)
    answer, kind = ask(client, bytes, "binary")
    check_equal("binary", kind, "kind of " .. size)
    check_equal(true, answer == bytes, "bytes of " .. size)
  end
  client:close()
end

function tests.text_of_all_planes(url)
  local client = connect(url)
  check_equal(PLANES, (ask(client, PLANES)), "text")
  client:close()
end

function tests.fragments(url)
  local client = connect(url)
  check_equal("one two three", (ask(client, "fragments")), "message")
  client:close()
end

function tests.pings(url)
  local client = connect(url)
  check_equal("pong came", (ask(client, "ping")), "message")
  client:close()
end

function tests.own_pings(url)
  local client = connect(url, { ping_period = 0.01 })
  local message, why = client:receive(0.2)
  check_equal(nil, message, "message")
  check_equal("timeout", why, "why")
  check_equal("hello", (ask(client, "hello")), "message")
  client:close()
end

function tests.closing(url)
  local cases = { { 1000, "" }, { 1000, "done" }, { 3000, "Grüße" }, { 4000, ("x"):rep(123) } }
  for _, case in ipairs(cases) do
    local client = connect(url)
    check_equal("hello", (ask(client, "hello")), "message")
    client:close(case[1], case[2])
    local _, why, code = client:receive(60)
    check_equal("closed", why, "why")
    check_equal(case[1], code, "code")
  end
end

function tests.being_closed(url)
  for _, case in ipairs { { 1000, "done" }, { 3000, "library" }, { 4002, "Grüße" } } do
    local client = connect(url)
    client:send(("close %d %s"):format(case[1], case[2]))
    check_closed(client, case[1], case[2])
    check_closed(client, case[1], case[2]) -- and again
  end
end

function tests.message_before_close(url)
  local client = connect(url)
  client:send("one")
  client:send("two")
  client:send("close 4002 bye")
  local list = {}
  for message in client:messages() do list[#list + 1] = message end
  check_equal("one two", table.concat(list, " "), "messages")
  check_closed(client, 4002, "bye")
end

function tests.subprotocols(url)
  local client = connect(url, { subprotocols = { "other", "echo.v1" } })
  check_equal("echo.v1", client.subprotocol, "subprotocol")
  client:close()
  client = connect(url)
  check_equal(nil, client.subprotocol, "subprotocol")
  client:close()
end

function tests.request_target(url)
  local scheme, host = url:match("^(%a+)://([^/]+)")
  for _, path in ipairs {
    "/", "/a/b?c=d&e", "/caf%C3%A9/%2F?x=%20y+z", "/?", "/;a=1,b'c(d)*!$~@:?/?",
  } do
    local client = connect(scheme .. "://" .. host .. path)
    local expected = path:gsub("%?$", "") -- some drop an empty query
    local target = ask(client, "request"):match("^%S+")
    check_equal(expected, (target:gsub("%?$", "")), "target")
    client:close()
  end
end

function tests.request_headers(url)
  local host = url:match("^%a+://([^/]+)")
  local client = connect((url:gsub("/$", "?q")), { headers = { ["X-Test"] = "42" } })
  check_equal("/?q 42 " .. host, (ask(client, "request")), "request")
  client:close()
end

function tests.json(url)
  local client = connect(url, { codec = "json" })
  local answer = ask(client, { id = 9007199254740993, list = { 1, 2.5, "ü" }, empty = tw.array() })
  check_equal(9007199254740993, answer.id, "id")
  check_equal("ü", answer.list[3], "list[3]")
  check_equal("[]", tw.json.encode(answer.empty), "empty")
  client:close()
end

function tests.message_too_large(url)
  local client = connect(url, { max_message_size = 1000 })
  check_equal(1000, #ask(client, ("x"):rep(1000)), "size")
  client:send(("x"):rep(1001))
  check_closed(client, 1009, select(4, client:receive(60)))
end

-- Sends much without reading. Some servers stop reading then, so that a send is refused; the
-- others keep all that they have not sent.
function tests.much_before_the_first_receive(url)
  local client = connect(url)
  local count, sent, problem = 0
  local filler = ("x"):rep(60000)
  repeat
    sent, problem = client:send(count .. filler)
    count = count + (sent and 1 or 0)
  until not sent or count == 300
  check_equal(not sent and "backlog" or nil, problem, "send")
  for number = 0, count - 1 do
    local message = client:receive(60)
    check_equal(number, tonumber(message and message:match("^(%d+)x")), "message")
  end
  client:close()
end

function tests.fifty_clients(url)
  local done, problems = 0, {}
  for number = 1, 50 do
    tw.spawn(function()
      local ok, problem = pcall(function()
        local client = connect(url)
        for index = 1, 20 do client:send(number .. "/" .. index) end
        for index = 1, 20 do
          check_equal(number .. "/" .. index, (client:receive(60)), "message")
        end
        client:close(1000)
      end)
      problems[#problems + 1] = not ok and tostring(problem) or nil
      done = done + 1
    end)
  end
  while done < 50 do tw.sleep(0.005) end
  check_equal("", table.concat(problems, "\n"), "problems")
end

local function handle_message(conn, task)
  authority = task.authority
  local problems = {}
  for name, test in pairs(tests) do
    if not (task.cannot or ""):find(name, 1, true) then
      local ok, problem = pcall(test, task.url)
      if not ok then problems[#problems + 1] = ("%s: %s"):format(name, problem) end
    end
  end
  conn:send(#problems == 0 and "ok" or table.concat(problems, "\n"))
end

return {
  codec = "json",
  handler_timeout = 60, -- of CPU time; sanitizers need more than usual
  handle_message = handle_message,
}
