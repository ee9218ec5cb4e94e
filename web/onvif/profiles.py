"""The profiles of a device, from whichever of its media services has them."""

from gateway.onvif import media
from gateway.onvif.errors import OnvifError, OnvifUnauthorizedError
from gateway.onvif.media import Profile
from gateway.onvif.soap import Service
from web.onvif.client import OnvifClient


async def profiles_of(client: OnvifClient) -> tuple[list[Profile], Service]:
    """The profiles, and the service that has them: a Media2 that does not work is no reason to fail."""
    if client.has(Service.MEDIA2):
        try:
            if found := media.parse_profiles(await client.call(media.GET_PROFILES_2)):
                return found, Service.MEDIA2
        except OnvifUnauthorizedError:
            raise
        except OnvifError:
            pass
    return media.parse_profiles(await client.call(media.GET_PROFILES)), Service.MEDIA
