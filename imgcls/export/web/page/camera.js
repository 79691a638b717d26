// The device's camera: stays open, so that one thing after the other can be classified.

/** Open the viewfinder; without a camera that pages may use, the system's own way to take a photo. */
export async function openCamera(element) {
  try {
    const video = element("video");
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    await video.play();
    element("viewfinder").showModal();
  } catch {
    closeCamera(element);
    element("capture").click();
  }
}

/** Let go of the camera. */
export function closeCamera(element) {
  for (const track of element("video").srcObject?.getTracks() ?? []) track.stop();
  element("video").srcObject = null;
  if (element("viewfinder").open) element("viewfinder").close();
}

/** What is to be seen now, as a file without loss. */
export async function photo(element) {
  const video = element("video");
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  closeCamera(element);
  return new File([await canvas.convertToBlob({ type: "image/png" })], "photo.png", { type: "image/png" });
}
