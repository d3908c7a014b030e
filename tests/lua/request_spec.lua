-- request_spec.lua -- the fields that a script reads from `request`.

local Request = require "tidewire.http.request"

local function head(lines)
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

local function get(target, ...)
  return Request.new(head { "GET " .. target .. " HTTP/1.1", "Host: x", ... }, nil,
    "192.0.2.7", false)
end

describe("a request", function()
  it("has method, peer, security and body as handed in", function()
    local request = Request.new(head { "POST /announce HTTP/1.1", "Host: x" }, "hello",
      "2001:db8::1", true)
    assert.equal("POST", request.method)
    assert.equal("2001:db8::1", request.remote_address)
    assert.is_true(request.secure)
    assert.equal("hello", request.body)
  end)

  it("is not secure and has no body where there is none", function()
    local request = get "/"
    assert.is_false(request.secure)
    assert.is_nil(request.body)
  end)

  it("has the params it was made with, or an empty table to keep", function()
    local request = Request.new(head { "GET / HTTP/1.1" }, nil, "unix", false, nil, { room = "7" })
    assert.same({ room = "7" }, request.params)
    local other = get "/"
    assert.same({}, other.params)
    assert.equal(other.params, other.params)
  end)

  it("knows no other field, and lets a script add its own", function()
    local request = get "/"
    assert.is_nil(request.nonsense)
    request.user = "ada"
    assert.equal("ada", request.user)
  end)
end)

describe("path and query", function()
  it("are taken apart and decoded", function()
    local request = get "/caf%C3%A9/a%20b?name=Ada+Lovelace&x=%26%3D&flag"
    assert.equal("/café/a b", request.path)
    assert.same({ name = "Ada Lovelace", x = "&=", flag = "" }, request.query)
  end)

  it("keep a plus in the path", function()
    assert.equal("/a+b", get("/a+b").path)
  end)

  it("let the last of several values win", function()
    assert.equal("3", get("/?a=1&a=2&a=3").query.a)
  end)

  it("keep invalid escapes", function()
    local request = get "/100%/%zz?q=50%"
    assert.equal("/100%/%zz", request.path)
    assert.equal("50%", request.query.q)
  end)

  it("keep question marks and equals signs of a value", function()
    assert.same({ a = "b?c=d" }, get("/?a=b?c=d").query)
  end)

  it("are empty for an empty query, and for none", function()
    assert.same({}, get("/?").query)
    assert.same({}, get("/").query)
    assert.same({}, get("/?&&").query)
  end)

  it("decode names too, and once only", function()
    assert.same({ ["a b"] = "%20" }, get("/?a%20b=%2520").query)
  end)

  it("are found in an absolute target", function()
    local request = get "http://example.com/chat?token=t"
    assert.equal("/chat", request.path)
    assert.equal("t", request.query.token)
    assert.equal("/", get("http://example.com").path)
    assert.equal("1", get("http://example.com?a=1").query.a)
  end)

  it("leave the raw path to the router", function()
    assert.equal("/a%2Fb", Request.raw_path(get "/a%2Fb?c=d"))
    assert.equal("*", Request.raw_path(get "*"))
  end)
end)

describe("headers", function()
  it("are found in any case", function()
    local request = get("/", "X-Token:  secret \t", "content-type:text/plain", "Empty:")
    for _, name in ipairs { "X-Token", "x-token", "X-TOKEN" } do
      assert.equal("secret", request.headers[name])
    end
    assert.equal("text/plain", request.headers["Content-Type"])
    assert.equal("", request.headers.empty)
    assert.is_nil(request.headers.absent)
    assert.is_nil(request.headers[1])
  end)

  it("are joined where they repeat", function()
    local request = get("/", "X-Forwarded-For: 192.0.2.1", "x-forwarded-for: 192.0.2.2")
    assert.equal("192.0.2.1, 192.0.2.2", request.headers["x-forwarded-for"])
  end)

  it("are listed by lower-case name", function()
    local names = {}
    for name in pairs(get("/", "X-Token: a", "Accept: b").headers) do
      names[#names + 1] = name
    end
    table.sort(names)
    assert.same({ "accept", "host", "x-token" }, names)
  end)

  it("keep colons and inner spaces of a value", function()
    assert.equal("a: b  c:d", get("/", "X: a: b  c:d").headers.x)
  end)

  it("do not mistake the request line for a header", function()
    local request = Request.new("GET /a:b HTTP/1.1\r\nHost: x\r\n\r\n", nil, "unix", false)
    local count = 0
    for _ in pairs(request.headers) do
      count = count + 1
    end
    assert.equal(1, count)
  end)
end)

describe("cookies", function()
  it("are a table of values by name", function()
    local request = get("/", 'Cookie: sid=abc=; theme="dark" ;lang=en;; broken')
    assert.same({ sid = "abc=", theme = "dark", lang = "en" }, request.cookies)
  end)

  it("keep the first of two with the same name", function()
    assert.equal("1", get("/", "Cookie: a=1; a=2").cookies.a)
  end)

  it("are found in repeated headers", function()
    assert.same({ a = "1", b = "2" }, get("/", "Cookie: a=1", "Cookie: b=2").cookies)
  end)

  it("are an empty table where there are none", function()
    assert.same({}, get("/").cookies)
  end)
end)

describe("what the handshake says", function()
  it("is origin and subprotocols", function()
    local request = get("/", "Origin: https://example.com",
      "Sec-WebSocket-Protocol: chat, superchat,,v2")
    assert.equal("https://example.com", request.origin)
    assert.same({ "chat", "superchat", "v2" }, request.subprotocols)
  end)

  it("is nil and an empty list where it says nothing", function()
    assert.is_nil(get("/").origin)
    assert.same({}, get("/").subprotocols)
  end)
end)

describe("a request as text", function()
  it("names method, path and peer, and no secret", function()
    local request = get("/chat?token=hunter2", "Authorization: Bearer hunter3",
      "Cookie: sid=hunter4")
    assert.equal("request: GET /chat from 192.0.2.7", tostring(request))
    assert.is_nil(tostring(request.headers):find("hunter", 1, true))
  end)

  it("is one line, whatever the path decodes to", function()
    assert.is_nil(tostring(get "/a%0D%0Ab"):find("[\r\n]"))
  end)
end)

describe("a trimmed request", function()
  it("answers as before", function()
    local request = get("/a?b=c", "X-Token: t")
    request.params = { room = "1" }
    local kept = request.headers
    assert.equal("c", request.query.b)
    Request.trim(request)
    assert.is_nil(rawget(request, "headers"))
    assert.is_nil(rawget(request, "query"))
    assert.equal("t", kept["X-Token"])
    assert.equal("t", request.headers["X-Token"])
    assert.equal("c", request.query.b)
    assert.same({ room = "1" }, request.params)
    assert.equal("192.0.2.7", request.remote_address)
  end)

  it("takes little memory, because every idle connection keeps one", function()
    local COUNT <const>, MOST_BYTES <const> = 1000, 150
    local text, requests = head { "GET / HTTP/1.1", "Host: x" }, {}
    for i = 1, COUNT do
      requests[i] = false
    end
    collectgarbage()
    local before = collectgarbage "count"
    for i = 1, COUNT do
      requests[i] = Request.new(text, nil, "192.0.2.7", false)
      assert.equal("x", requests[i].headers.host)
      Request.trim(requests[i])
    end
    collectgarbage()
    local bytes = (collectgarbage "count" - before) * 1024 / COUNT
    assert.is_true(bytes <= MOST_BYTES, bytes .. " bytes each")
  end)
end)
