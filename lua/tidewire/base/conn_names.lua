-- conn_names.lua -- the fields and methods that every connection has.
--
-- For checks while an app loads; conn.lua has the functions.

local names = {}

for name in ([[
  id name path params query remote_address secure subprotocol request started_at connected rtt
  backlog send close is_open ping join leave rooms after every ask
]]):gmatch("%S+") do
  names[name] = true
end

return names
