"""DICOM films for tests, written by pydicom."""

import io

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage


def dicom_film(levels, bits=12, syntax=ExplicitVRLittleEndian, compressed=None, **tags):
    """Bytes of a film of levels (h, w) or (h, w, 3); compressed: its pixels as bytes of the transfer syntax."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    meta.TransferSyntaxUID = syntax
    header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    header.Rows, header.Columns = levels.shape[:2]
    header.SamplesPerPixel = 1 if levels.ndim == 2 else 3
    header.PhotometricInterpretation = "MONOCHROME2" if levels.ndim == 2 else "RGB"
    header.BitsStored, header.HighBit = bits, bits - 1
    header.BitsAllocated = 8 if bits == 8 else 16
    header.PixelRepresentation = int(np.issubdtype(levels.dtype, np.signedinteger))
    header.Modality = "DX"
    if levels.ndim == 3:
        header.PlanarConfiguration = 0
    plain = levels.astype("<i2" if header.PixelRepresentation else "<u2" if bits > 8 else "u1").tobytes()
    header.PixelData = encapsulate([compressed]) if compressed else plain
    for name, value in tags.items():
        setattr(header, name, value)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, header, enforce_file_format=True)
    return buffer.getvalue()
