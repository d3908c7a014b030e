-- cluster_option.lua -- the option `cluster`: the Redis servers that join several machines.
--
-- A URL, a list of URLs, or a table with `url` or `urls` and more. URLs may have passwords, so no
-- message shows a value. Pure functions, run as an app loads.

local option_fields = require "tidewire.load.option_fields"

local cluster_option = {}

cluster_option.expected = 'the URL of a Redis server, as in "redis://127.0.0.1:6379", a list of '
  .. "URLs, or { url = …, prefix = … }"

local MOST_SERVERS <const> = 64 -- REDIS_SERVERS_MAX in src/cluster/redis/redis_servers.h
local LONGEST_PREFIX <const> = 64
local MOST_LEASE <const> = 300

--- What the table may have beside `url` and `urls`.
---@type tidewire.OptionField[]
local fields = {
  { name = "prefix", type = "text" },
  { name = "lease", type = "seconds" },
  { name = "ca", type = "text" },
  { name = "certificate", type = "text" },
  { name = "key", type = "text" },
  { name = "key_password", type = "string" },
  { name = "verify", type = "boolean" },
  { name = "url", type = "any" },
  { name = "urls", type = "any" },
}

local function is_list(value)
  for key in pairs(value) do
    if math.type(key) ~= "integer" or key < 1 or key > #value then return false end
  end
  return #value > 0
end

--- Adds the problems of a list of URLs.
local function check_urls(urls, check_url, problems)
  if #urls > MOST_SERVERS then
    problems[#problems + 1] = ("%d Redis servers are too many: at most %d are possible")
      :format(#urls, MOST_SERVERS)
  end
  local seen = {}
  for i, url in ipairs(urls) do
    local ok, message
    if type(url) ~= "string" or url == "" then
      ok, message = false, "expected a URL, got " .. (url == "" and '""' or type(url))
    elseif seen[url] then
      ok, message = false, "it comes twice"
    else
      seen[url], ok = true, true
      if check_url then ok, message = check_url(url) end
    end
    if not ok then
      problems[#problems + 1] = #urls == 1 and message or ("URL %d: %s"):format(i, message)
    end
  end
end

--- The fields of the table form.
local function check_fields(value, problems, check_field)
  local checked, found = option_fields.check(value, fields, function(field, given)
    if field.type == "any" then return true, given end
    return check_field(field, given)
  end)
  table.move(found, 1, #found, #problems + 1, problems)
  local prefix = checked.prefix
  if prefix and (#prefix > LONGEST_PREFIX or not prefix:find("^[%w_.:/-]+$")) then
    problems[#problems + 1] = ("prefix: expected at most %d letters, digits and _.:/-")
      :format(LONGEST_PREFIX)
  end
  if checked.lease and (checked.lease < 1 or checked.lease > MOST_LEASE) then
    problems[#problems + 1] = ("lease: expected 1 to %d seconds"):format(MOST_LEASE)
  end
  if checked.key and not checked.certificate then
    problems[#problems + 1] = "key: it needs certificate"
  end
  if checked.url ~= nil and checked.urls ~= nil then
    problems[#problems + 1] = "url and urls: one of the two is enough"
  elseif checked.urls ~= nil and (type(checked.urls) ~= "table" or not is_list(checked.urls)) then
    problems[#problems + 1] = "urls: expected a list of URLs"
    checked.urls = nil
  end
  return checked
end

--- Checks the value of the option.
---@param value any
---@param check_url nil|fun(text: string): any, string|nil  nil: each text is a good URL
---@param check_field fun(field: table, value: any): boolean, any  as of option_fields.check()
---@return boolean ok
---@return any value_or_problems  { urls = …, prefix = … } with what is there, or a list of messages
function cluster_option.check(value, check_url, check_field)
  local problems, result = {}, {}
  if type(value) == "string" then
    result.urls = { value }
  elseif type(value) == "table" and is_list(value) then
    result.urls = { table.unpack(value) }
  elseif type(value) == "table" then
    result = check_fields(value, problems, check_field)
    result.urls = result.urls or (result.url ~= nil and { result.url } or nil)
    result.url = nil
  else
    return false
  end
  if result.urls then check_urls(result.urls, check_url, problems) end
  return #problems == 0, #problems == 0 and result or problems
end

return cluster_option
