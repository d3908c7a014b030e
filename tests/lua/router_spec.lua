-- router_spec.lua -- which endpoint and which HTTP route a path reaches.

local Router = require "tidewire.load.router"

local function endpoints(patterns)
  local router = Router.new()
  for _, pattern in ipairs(patterns) do
    assert(router:add_endpoint(pattern, pattern))
  end
  return router
end

local function refused(pattern)
  local ok, message = Router.new():add_endpoint(pattern, {})
  assert.is_nil(ok)
  return message
end

describe("an endpoint", function()
  it("is found by its exact path", function()
    local router = endpoints { "/chat", "/", "/a/b" }
    assert.equal("/chat", (router:endpoint "/chat"))
    assert.equal("/", (router:endpoint "/"))
    assert.equal("/a/b", (router:endpoint "/a/b"))
    for _, path in ipairs {
      "/chat/", "/cha", "/chatt", "/CHAT", "/a", "/a/b/c", "//chat", "", "chat", "*",
    } do
      assert.is_nil(router:endpoint(path), path)
    end
  end)

  it("may end in a slash, which is a path of its own", function()
    local router = endpoints { "/chat/" }
    assert.equal("/chat/", (router:endpoint "/chat/"))
    assert.is_nil(router:endpoint "/chat")
  end)

  it("takes parameters from the path, decoded", function()
    local router = endpoints { "/game/:room/:seat" }
    local endpoint, params = router:endpoint "/game/caf%C3%A9%2Fbar/3"
    assert.equal("/game/:room/:seat", endpoint)
    assert.same({ room = "café/bar", seat = "3" }, params)
    assert.is_nil(router:endpoint "/game/x")
    assert.is_nil(router:endpoint "/game//3")
    assert.is_nil(router:endpoint "/game/x/")
    assert.is_nil(router:endpoint "/game/x/3/4")
  end)

  it("takes the rest of the path with a star", function()
    local router = endpoints { "/files/*" }
    local function rest(path)
      local _, params = router:endpoint(path)
      return params and params["*"]
    end
    assert.equal("a", rest "/files/a")
    assert.equal("a/b c/", rest "/files/a/b%20c/")
    assert.equal("", rest "/files/")
    assert.is_nil(rest "/files")
  end)

  it("on /* is found on every path", function()
    local router = endpoints { "/*" }
    for _, path in ipairs { "/", "/a", "/a/b/", "//" } do
      assert.equal("/*", (router:endpoint(path)), path)
    end
    local _, params = router:endpoint "/a/b"
    assert.same({ ["*"] = "a/b" }, params)
  end)

  it("has no params on a plain path", function()
    local _, params = endpoints({ "/chat" }):endpoint "/chat"
    assert.same({}, params)
  end)

  it("is the most specific one: words before parameters before the star", function()
    local router = endpoints {
      "/*", "/:a/b", "/game/*", "/game/:room", "/game/lobby", "/game/:room/log",
    }
    local expected = {
      ["/game/lobby"] = "/game/lobby",
      ["/game/7"] = "/game/:room",
      ["/game/7/log"] = "/game/:room/log",
      ["/game/lobby/log"] = "/game/:room/log",
      ["/game/7/x"] = "/game/*",
      ["/x/b"] = "/:a/b",
      ["/x/c"] = "/*",
      ["/game"] = "/*",
    }
    for path, pattern in pairs(expected) do
      assert.equal(pattern, (router:endpoint(path)), path)
    end
    local _, params = router:endpoint "/game/lobby/log"
    assert.same({ room = "lobby" }, params)
    _, params = router:endpoint "/game/7/x"
    assert.same({ ["*"] = "7/x" }, params)
  end)

  it("is matched after decoding, but an encoded slash ends no segment", function()
    local router = endpoints { "/café", "/a/b", "/with%20space" }
    assert.equal("/café", (router:endpoint "/caf%c3%a9"))
    assert.equal("/with%20space", (router:endpoint "/with%20space"))
    assert.is_nil(router:endpoint "/a%2Fb")
  end)

  it("may not match the same paths as another", function()
    local router = endpoints { "/game/:room", "/chat", "/files/*" }
    for pattern, other in pairs {
      ["/game/:id"] = "/game/:room", ["/chat"] = "/chat", ["/files/*"] = "/files/*",
    } do
      local ok, message = router:add_endpoint(pattern, {})
      assert.is_nil(ok)
      assert.equal(('matches the same paths as "%s"'):format(other), message)
    end
  end)

  it("must have a sound pattern", function()
    assert.matches('begin with "/"', refused "chat")
    assert.matches('begin with "/"', refused "")
    assert.matches("last part", refused "/*/a")
    assert.matches("part of its own", refused "/a*")
    assert.matches("no parameter", refused "/:")
    assert.matches("no parameter", refused "/:a-b")
    assert.matches("twice", refused "/:a/:a")
    assert.matches('no "//"', refused "//a")
    assert.matches("request.query", refused "/a?b")
    assert.matches("spaces", refused "/a b")
  end)
end)

local function handler(key)
  local method, path = key:match("^(%u+) (.*)$")
  return { key = key, method = method, path = path or key, handler = function() end }
end

local function static(path)
  return { key = path, path = path, static = "folder of " .. path }
end

local function routes(list)
  local router = Router.new()
  for _, route in ipairs(list) do
    assert(router:add_route(route))
  end
  return router
end

describe("an HTTP route", function()
  it("is found by method and path", function()
    local router = routes { handler "GET /a", handler "POST /a", handler "/b" }
    assert.equal("GET /a", router:route("GET", "/a").key)
    assert.equal("POST /a", router:route("POST", "/a").key)
    assert.equal("/b", router:route("DELETE", "/b").key)
    assert.is_nil((router:route("GET", "/c")))
  end)

  it("hands its parameters on, under its own names", function()
    local router = routes { handler "GET /a/:x", handler "POST /a/:y" }
    assert.same({ x = "1" }, (select(2, router:route("GET", "/a/1"))))
    assert.same({ y = "1" }, (select(2, router:route("POST", "/a/1"))))
  end)

  it("for GET answers HEAD too, unless there is one for HEAD", function()
    assert.equal("GET /a", routes({ handler "GET /a" }):route("HEAD", "/a").key)
    assert.equal("HEAD /a", routes({ handler "GET /a", handler "HEAD /a" }):route("HEAD", "/a").key)
    assert.equal("GET /a", routes({ handler "/a", handler "GET /a" }):route("HEAD", "/a").key)
  end)

  it("for any method leaves methods to their own routes", function()
    local router = routes { handler "/a", handler "POST /a" }
    assert.equal("POST /a", router:route("POST", "/a").key)
    assert.equal("/a", router:route("GET", "/a").key)
  end)

  it("for another method gives way to a less specific one", function()
    local router = routes { handler "POST /a", handler "GET /:x" }
    assert.equal("GET /:x", router:route("GET", "/a").key)
  end)

  it("returns the path's methods, where the request's is not one of them", function()
    local router = routes { handler "POST /a", handler "GET /:x", static "/files" }
    local route, why, allowed = router:route("DELETE", "/a")
    assert.is_nil(route)
    assert.equal("method", why)
    assert.same({ "GET", "HEAD", "POST" }, allowed)
    route, why, allowed = router:route("POST", "/files/x")
    assert.is_nil(route)
    assert.equal("method", why)
    assert.same({ "GET", "HEAD" }, allowed)
    assert.same({}, { router:route("DELETE", "/x/y") })
  end)

  it("may not answer the same requests as another", function()
    local router = routes { handler "GET /a/:x", handler "/b", static "/files", static "/" }
    for _, route in ipairs { handler "GET /a/:y", handler "/b", handler "/files/*",
      handler "GET /files/*",
      static "/files", static "/files/", handler "/*" } do
      local ok, message = router:add_route(route)
      assert.is_nil(ok, route.key)
      assert.matches("^answers the same requests as ", message)
    end
    assert.is_true(router:add_route(handler "POST /files/*"))
    assert.is_true(router:add_route(handler "GET /b"))
  end)
end)

describe("a static route", function()
  local function rest(router, path, method)
    local route, params = router:route(method or "GET", path)
    return route and route.key, route and params["*"]
  end

  it("serves everything below its path", function()
    local router = routes { static "/assets" }
    assert.same({ "/assets", "a/b.css" }, { rest(router, "/assets/a/b.css") })
    assert.same({ "/assets", "a b" }, { rest(router, "/assets/a%20b", "HEAD") })
    assert.same({ "/assets", "" }, { rest(router, "/assets/") })
    assert.same({ "/assets", "" }, { rest(router, "/assets") })
    assert.is_nil((rest(router, "/assetsx")))
  end)

  it("on / serves everything", function()
    local router = routes { static "/" }
    assert.same({ "/", "" }, { rest(router, "/") })
    assert.same({ "/", "a/b" }, { rest(router, "/a/b") })
  end)

  it("returns the encoded path below it, for the caller that opens the file", function()
    local router = routes { static "/", static "/a/b/" }
    for path, below in pairs {
      ["/"] = "/", ["/x%2Fy"] = "/x%2Fy", ["/a/b"] = "", ["/a/b/"] = "/",
      ["/a/b/%2e%2e/c"] = "/%2e%2e/c", ["/%61/b/d//e"] = "/d//e", ["/a"] = "/a", ["//a"] = "//a",
    } do
      assert.equal(below, (select(3, router:route("GET", path))), path)
    end
  end)

  it("gives way to functions, and to a longer prefix", function()
    local router = routes { static "/", static "/assets", static "/assets/deep",
      handler "GET /assets/now", handler "/", handler "GET /assets" }
    assert.equal("/", (rest(router, "/x")))
    assert.equal("/assets", (rest(router, "/assets/x")))
    assert.equal("/assets/deep", (rest(router, "/assets/deep/x")))
    assert.equal("/assets/deep", (rest(router, "/assets/deep")))
    assert.equal("GET /assets/now", (rest(router, "/assets/now")))
    assert.equal("GET /assets", (rest(router, "/assets")))
    assert.is_function(router:route("GET", "/").handler)
  end)

  it("has a plain path", function()
    for _, path in ipairs { "/a/*", "/:a" } do
      local ok, message = Router.new():add_route(static(path))
      assert.is_nil(ok)
      assert.matches("plain path", message)
    end
  end)
end)
